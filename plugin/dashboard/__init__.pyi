from .app import build_app as build_app
from .server import make_server as make_server, serve as serve
