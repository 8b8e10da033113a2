/* A backend that needs a far newer host. Nothing in its table may be called. */
#include <stdlib.h>

#include "spnl/backend.h"

#define STR(text) \
  { text, sizeof(text) - 1 }

static const spnl_str kPrefixes[] = {STR("bad_future_minor")};
static const spnl_descriptor kDescriptor = {sizeof(spnl_descriptor),
                                            99,
                                            99,
                                            1,
                                            kPrefixes,
                                            STR("spnl.bad_future_minor"),
                                            STR("Bad"),
                                            STR("0.1.0"),
                                            STR("spnl"),
                                            STR("Apache-2.0"),
                                            0};

static spnl_status open_it(const spnl_host* host, spnl_instance** instance, spnl_error* error) {
  (void)host, (void)instance, (void)error;
  abort();
}

static const spnl_backend kBackend = {
    .struct_size = sizeof(spnl_backend), .descriptor = &kDescriptor, .open = open_it};

__attribute__((visibility("default"))) const spnl_backend* spnl_backend_v1(void) {
  return &kBackend;
}
