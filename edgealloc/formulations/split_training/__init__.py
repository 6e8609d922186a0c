"""Split fine-tuning at the mobile edge: where to cut, which server, what power, bandwidth and clocks (Liu & Zhao)."""
