"""What Gunicorn needs: its settings, its worker, its reload and the application that it imports."""
