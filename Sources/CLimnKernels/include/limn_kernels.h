// The C side of limn: inner loops, one call per block of rows.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// The name of the instruction set that the kernels chose on this machine: "avx512", "avx2", "neon" or "scalar".
const char *limn_isa_name(void);
