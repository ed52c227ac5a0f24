"""Where tokens come from, one module each: `fetch` gets an answer, `read` makes tokens or symbols of it."""
