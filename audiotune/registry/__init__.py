"""The registry: MLflow runs, releases and aliases. Nothing else in the project touches mlflow."""
