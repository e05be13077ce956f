from .review import Review as Review
from .review import review_labels as review_labels
from .write import write_review as write_review
