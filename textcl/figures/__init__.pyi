from .charts import altair as altair
from .charts import specification as specification
from .charts import titled as titled
from .files import save as save
