"""What somebody may do, for the API and the pages alike: rights, one transaction with its audit, then publishing.

Each action is done by the current request's principal, see manager/current.py. Bodies have been loaded by the schemas
of manager/api. `run` does the work in a transaction; another one than the plain may answer what was asked before.
"""

from collections.abc import Callable

from sqlalchemy.orm import Session

from manager.etags import Expected

# Whatever there is, it may be changed.
ANY = Expected()

type Run[Result] = Callable[[Callable[[Session], Result]], Result]
