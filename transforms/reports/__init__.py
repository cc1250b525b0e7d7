"""Reports: frames and values in, text and bytes out."""
