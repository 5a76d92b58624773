"""From a trained model to sound: rendering, streams, bundles, exports for other runtimes, and measurements."""
