"""Fetches a URL as programs in Python do, by a proxy or by the address that stands for the host."""
import socket
import ssl
import sys
import urllib.request

url, authorities, proxy, instead = sys.argv[1:]
if instead:
    host, port = instead.split(":")
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda *_, **__: resolve(host, int(port), type=socket.SOCK_STREAM)
proxies = {"http": proxy, "https": proxy} if proxy else {}
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler(proxies),
    urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authorities)),
)
print(opener.open(url, timeout=30).read().decode())
