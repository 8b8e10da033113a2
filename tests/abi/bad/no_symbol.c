/* A library beside a manifest that has no entry symbol. */
int spnl_bad_no_symbol(void);
int spnl_bad_no_symbol(void) { return 1; }
