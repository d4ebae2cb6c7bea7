"""The routes by which an application's sagas are watched and decided about; `router` is what users see of it."""
