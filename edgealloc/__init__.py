"""edgealloc: resource allocation with a proof for large language models at the mobile edge."""
