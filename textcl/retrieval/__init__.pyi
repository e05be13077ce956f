from .search import Hits as Hits
from .search import search as search
