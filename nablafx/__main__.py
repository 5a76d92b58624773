"""`python -m nablafx`."""

import sys

from nablafx.cli import main

sys.exit(main())
