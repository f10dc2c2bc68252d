from ._compare import compare as compare
from .comparison import CONDITIONS as CONDITIONS, Comparison as Comparison, Condition as Condition
