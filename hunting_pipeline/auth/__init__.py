"""Sign-in to Entra: one way to sign in per credential, and tokens through MSAL."""
