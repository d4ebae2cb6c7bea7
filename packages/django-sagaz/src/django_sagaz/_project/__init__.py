"""What a Django project says about its sagas."""
