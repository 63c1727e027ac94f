// F16: a sign, 5 bits of exponent, 10 of fraction.
#include "kernels.h"
#include "simd.h"

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  for (int k = 0; k < columns; k++) values[k] = float_from_half(load_u16((const char *)blocks + 2 * k));
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  int k = 0;
  for (; k + 16 <= columns; k += 16) v_store(values + k, v_load_half((const char *)blocks + 2 * k));
  dequantize_scalar((const char *)blocks + 2 * k, values + k, columns - k);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_recipe_f16(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32_ROWS) return limn_products_rows(recipe, isa, LIMN_F16);
  if (arithmetic == LIMN_INT16) return limn_products_int16(recipe, isa);
  limn_products_float32(recipe, isa);
  return arithmetic == LIMN_FLOAT32;
}
