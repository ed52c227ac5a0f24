"""dynamicWhitelist: from token sources to the list of pools that is published. A service of its own."""
