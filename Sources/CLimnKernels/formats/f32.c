// F32: rows of float32, as they are.
#include "kernels.h"
#include "simd.h"

static void dequantize(const void *blocks, float *values, int columns) {
  memcpy(values, blocks, (size_t)columns * sizeof(float));
}

int limn_recipe_f32(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = dequantize;
  if (arithmetic == LIMN_FLOAT32_ROWS) return limn_products_rows(recipe, isa, LIMN_F32);
  limn_products_float32(recipe, isa);
  return arithmetic == LIMN_FLOAT32;
}
