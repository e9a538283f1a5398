"""The page at ``/``: HTML, a stylesheet and ES modules, served as they are by ``barevision.api.page``."""
