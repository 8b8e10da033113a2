#include "spnl/backend.h"

int main(void) { return SPNL_ABI_MAJOR == 1u && sizeof(spnl_error) == 512 ? 0 : 1; }
