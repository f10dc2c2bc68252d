from ._analyze import analyze as analyze
from .report import Report as Report
