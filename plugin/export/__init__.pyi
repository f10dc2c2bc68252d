from ._export import FORMATS as FORMATS, PARTS as PARTS, export as export
