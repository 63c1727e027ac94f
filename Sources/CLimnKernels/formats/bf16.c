// BF16: the upper half of a float32.
#include "kernels.h"
#include "simd.h"

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  for (int k = 0; k < columns; k++) values[k] = float_from_bfloat(load_u16((const char *)blocks + 2 * k));
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

int limn_recipe_bf16(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_BFLOAT16) return limn_products_bfloat16(recipe, isa, LIMN_BF16);
  if (arithmetic == LIMN_FLOAT32_ROWS) return limn_products_rows(recipe, isa, LIMN_BF16);
  if (arithmetic == LIMN_INT16) return limn_products_int16(recipe, isa);
  limn_products_float32(recipe, isa);
  return arithmetic == LIMN_FLOAT32;
}
