"""Exchange rates from price sources."""
