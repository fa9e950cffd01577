//! Tests of integrations, subscriptions and what goes through them.
