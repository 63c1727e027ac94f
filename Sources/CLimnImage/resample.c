#include "limn_image.h"

static inline uint8_t round_sum(int32_t sum) {
  const int32_t value = sum >> LIMN_RESAMPLE_BITS;
  return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

void limn_resample_row(
  const uint8_t *row, const int32_t *starts, const int32_t *taps, const int32_t *weights, size_t stride, size_t outputs,
  uint8_t *out) {
  for (size_t i = 0; i < outputs; i++) {
    const uint8_t *pixel = row + 3 * (size_t)starts[i];
    const int32_t *weight = weights + i * stride;
    int32_t red = LIMN_RESAMPLE_HALF, green = LIMN_RESAMPLE_HALF, blue = LIMN_RESAMPLE_HALF;
    for (int32_t k = 0; k < taps[i]; k++, pixel += 3) {
      red += pixel[0] * weight[k];
      green += pixel[1] * weight[k];
      blue += pixel[2] * weight[k];
    }
    out[3 * i] = round_sum(red);
    out[3 * i + 1] = round_sum(green);
    out[3 * i + 2] = round_sum(blue);
  }
}

void limn_resample_add(const uint8_t *row, int32_t weight, size_t count, int32_t *sums) {
  for (size_t i = 0; i < count; i++) sums[i] += row[i] * weight;
}

void limn_resample_round(const int32_t *sums, size_t count, uint8_t *out) {
  for (size_t i = 0; i < count; i++) out[i] = round_sum(sums[i]);
}
