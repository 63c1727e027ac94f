#include "limn_kernels.h"

const char *limn_isa_name(void) { return "scalar"; }
