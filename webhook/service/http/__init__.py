"""HTTP: the listening sockets, their connections, and the FastAPI applications that answer."""
