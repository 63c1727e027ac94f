// The 12 bytes in which Q4_K and Q5_K keep 8 scales and 8 minimums of 6 bits. Drawn in q4_k.c.
#pragma once
#include "products/few_tokens.h"
#include "simd.h"

LIMN_INLINE int scale_of(const uint8_t scales[12], int group) {
  return group < 4 ? scales[group] & 63 : (scales[group + 4] & 15) | (scales[group - 4] >> 6) << 4;
}
LIMN_INLINE int min_of(const uint8_t scales[12], int group) {
  return group < 4 ? scales[group + 4] & 63 : scales[group + 4] >> 4 | (scales[group] >> 6) << 4;
}

/// All scales and minimums, one per byte.
typedef struct {
  uint64_t scales, mins;
} limn_scales_k;
LIMN_INLINE limn_scales_k load_scales(const uint8_t scales[12]) {
  const uint32_t a = load_u32(scales), b = load_u32(scales + 4), c = load_u32(scales + 8);
  limn_scales_k all;
  all.scales = (a & 0x3f3f3f3f) | (uint64_t)((c & 0x0f0f0f0f) | (a >> 2 & 0x30303030)) << 32;
  all.mins = (b & 0x3f3f3f3f) | (uint64_t)((c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030)) << 32;
  return all;
}

/// The same for 16 rows: writes the scales and minimums of a panel, from the three 32-bit words that hold them.
LIMN_INLINE void v_store_scales(const v16i words[3], limn_panel_k *panel) {
  const v16i scales[2] = {words[0] & 0x3f3f3f3f, (words[2] & 0x0f0f0f0f) | (words[0] >> 2 & 0x30303030)};
  const v16i mins[2] = {words[1] & 0x3f3f3f3f, (words[2] >> 4 & 0x0f0f0f0f) | (words[1] >> 2 & 0x30303030)};
  LIMN_UNROLL (int g = 0; g < 8; g++) v_store_bytes(panel->scale[g], scales[g / 4] >> g % 4 * 8 & 0xff);
  LIMN_UNROLL (int g = 0; g < 8; g += 2) {
    const v16i pair = mins[g / 4] >> g % 4 * 8;
    v_store_bytes(panel->min[g / 2], (pair & 0xff) | (pair << 8 & 0xff0000));
  }
}

#if defined(__x86_64__)
/// The head of a block that begins with d, dmin and the 12 bytes.
LIMN_TARGET_AVX2 LIMN_INLINE limn_head_k head_of_scales_avx2(const void *block) {
  const limn_scales_k s = load_scales((const uint8_t *)block + 4);
  const __m128i scales = _mm_cvtepu8_epi16(_mm_cvtsi64_si128((long long)s.scales));
  const __m128i mins = _mm_cvtepu8_epi16(_mm_cvtsi64_si128((long long)s.mins));
  return (limn_head_k){twice_avx2(_mm256_broadcastsi128_si256(scales)), _mm256_zextsi128_si256(mins), load_u32(block)};
}
#endif
