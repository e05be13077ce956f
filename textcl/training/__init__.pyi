from .run_folder import RunFolder as RunFolder
from .session import resume as resume
from .session import train as train
from .settings import TrainSettings as TrainSettings
