"""The command `rnn-probe`: inspect, record, convert, new-study, report, show, site, verify."""
