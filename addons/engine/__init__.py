"""The tuned runner of the same rooms: mitmproxy with only what is needed. shared_port.py is for stock mitmdump."""
