"""Liu & Zhao, Resource Allocation for Stable LLM Training in Mobile Edge Computing, MobiHoc 2024, arXiv 2409.20247."""
