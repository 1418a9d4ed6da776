"""The only place that wires: settings, application, command line, doors."""
