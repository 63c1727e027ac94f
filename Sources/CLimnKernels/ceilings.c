// What this machine can do at most: how fast it reads memory and multiplies, to set measured speeds against.
#include "kernels.h"
#include "simd.h"
#if defined(__x86_64__)
  #include <immintrin.h>
#endif
#if defined(LIMN_EMULATED_AVX512)
  #define IN_REGISTER "+m"  // there are no such registers
#else
  #define IN_REGISTER "+v"
#endif

enum { STEPS = 4096, CHAINS = 12 };

// MARK: Reading: an item is LIMN_READ_ITEM bytes

static void read_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  const uint64_t *words = (const uint64_t *)((const char *)job + begin * LIMN_READ_ITEM);
  uint64_t sum = 0;
  for (ptrdiff_t i = 0; i < (end - begin) * LIMN_READ_ITEM / 8; i++) sum += words[i];
  memcpy(scratch, &sum, sizeof sum);
}

LIMN_INLINE void read_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  v16i sum[4] = {0};
  for (ptrdiff_t at = begin * LIMN_READ_ITEM; at < end * LIMN_READ_ITEM; at += 256) {
    const char *p = (const char *)job + at;
    LIMN_UNROLL for (int i = 0; i < 4; i++) sum[i] += v_load_bytes(p + i * 64);
    __builtin_prefetch(p + 4096);
  }
  v_store_bytes(scratch, sum[0] + sum[1] + sum[2] + sum[3]);
}
LIMN_KERNEL_INSTANCES(read)

// MARK: Products of 16-bit floats or integers, or of float32 where there are none: an item is STEPS steps of all chains

// The factors come from memory or pass through an empty assembler statement, so that the compiler can neither skip nor
// merge steps.

static void multiply_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  const float one = *(const float *)job;
  float sum[4] = {0};
  for (ptrdiff_t step = 0; step < (end - begin) * STEPS; step++)
    for (int c = 0; c < 4; c++) sum[c] = sum[c] * one + one;
  memcpy(scratch, sum, sizeof sum);
}
/// Half the chains, since AVX2 needs two registers for each.
LIMN_INLINE void multiply_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  const v16f one = v_splat(*(const float *)job);
  v16f sum[CHAINS / 2];
  LIMN_UNROLL for (int c = 0; c < CHAINS / 2; c++) sum[c] = v_splat((float)c);
  for (ptrdiff_t step = 0; step < (end - begin) * STEPS; step++)
    LIMN_UNROLL for (int c = 0; c < CHAINS / 2; c++) sum[c] = v_fma(sum[c], one, one);
  LIMN_UNROLL for (int c = 0; c < CHAINS / 2; c++) v_store((float *)scratch + c * 16, sum[c]);
}
LIMN_KERNEL_INSTANCES(multiply)

#if defined(__x86_64__)
LIMN_TARGET_BF16 static void multiply_bf16(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)job;
  __m512 sum[CHAINS];
  LIMN_UNROLL for (int c = 0; c < CHAINS; c++) sum[c] = _mm512_set1_ps((float)c);
  __m512i ones = _mm512_set1_epi16(0x3f80);
  for (ptrdiff_t step = 0; step < (end - begin) * STEPS; step++) {
    __asm__ volatile("" : IN_REGISTER(ones));
    LIMN_UNROLL for (int c = 0; c < CHAINS; c++)
      sum[c] = _mm512_dpbf16_ps(sum[c], (__m512bh)ones, (__m512bh)ones);
  }
  LIMN_UNROLL for (int c = 0; c < CHAINS; c++) _mm512_storeu_ps((float *)scratch + c * 16, sum[c]);
}

// MARK: Products of 8-bit integers

LIMN_TARGET_VNNI static void multiply_vnni(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)job;
  __m512i sum[CHAINS];
  LIMN_UNROLL for (int c = 0; c < CHAINS; c++) sum[c] = _mm512_set1_epi32(c);
  __m512i ones = _mm512_set1_epi8(1);
  for (ptrdiff_t step = 0; step < (end - begin) * STEPS; step++) {
    __asm__ volatile("" : IN_REGISTER(ones));
    LIMN_UNROLL for (int c = 0; c < CHAINS; c++) sum[c] = _mm512_dpbusd_epi32(sum[c], ones, ones);
  }
  LIMN_UNROLL for (int c = 0; c < CHAINS; c++) _mm512_storeu_si512((char *)scratch + c * 64, sum[c]);
}
/// What the products of 4-bit weights do: sums of 16 bits. The product is behind a statement of its own, since it would be
/// the same in every step.
LIMN_TARGET_AVX2 static void multiply_int8_avx2(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)job;
  __m256i sum[CHAINS], ones = _mm256_set1_epi8(1);
  LIMN_UNROLL for (int c = 0; c < CHAINS; c++) sum[c] = _mm256_set1_epi16((int16_t)c);
  for (ptrdiff_t step = 0; step < (end - begin) * STEPS; step++)
    LIMN_UNROLL for (int c = 0; c < CHAINS; c++) {
      __asm__ volatile("" : "+x"(ones));
      sum[c] = _mm256_add_epi16(sum[c], _mm256_maddubs_epi16(ones, ones));
    }
  LIMN_UNROLL for (int c = 0; c < CHAINS; c++) _mm256_storeu_si256((__m256i *)((char *)scratch + c * 64), sum[c]);
}
LIMN_TARGET_AVX2 static void multiply_int16_avx2(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  (void)job;
  __m256i sum[CHAINS], ones = _mm256_set1_epi16(1);
  LIMN_UNROLL for (int c = 0; c < CHAINS; c++) sum[c] = _mm256_set1_epi32(c);
  for (ptrdiff_t step = 0; step < (end - begin) * STEPS; step++)
    LIMN_UNROLL for (int c = 0; c < CHAINS; c++) {
      __asm__ volatile("" : "+x"(ones));
      sum[c] = _mm256_add_epi32(sum[c], _mm256_madd_epi16(ones, ones));
    }
  LIMN_UNROLL for (int c = 0; c < CHAINS; c++) _mm256_storeu_si256((__m256i *)((char *)scratch + c * 64), sum[c]);
}
#endif

void limn_install_ceilings(limn_kernels *kernels) {
  const limn_isa isa = kernels->isa;
  kernels->read = LIMN_PICK(isa, read);
  kernels->multiply_16 = kernels->multiply_8 = LIMN_PICK(isa, multiply);
  kernels->operations_16 = kernels->operations_8 = 2.0 * STEPS * (isa == LIMN_SCALAR ? 4 : CHAINS / 2 * 16);
#if defined(__x86_64__)
  if (isa == LIMN_AVX512 && limn_has_bf16()) {
    kernels->multiply_16 = multiply_bf16;
    kernels->operations_16 = 2.0 * STEPS * CHAINS * 32;
  } else if (isa == LIMN_AVX2) {
    kernels->multiply_16 = multiply_int16_avx2;
    kernels->operations_16 = 2.0 * STEPS * CHAINS * 16;
  }
  if (isa == LIMN_AVX512 && limn_has_vnni()) {
    kernels->multiply_8 = multiply_vnni;
    kernels->operations_8 = 2.0 * STEPS * CHAINS * 64;
  } else if (isa == LIMN_AVX512 || isa == LIMN_AVX2) {
    kernels->multiply_8 = multiply_int8_avx2;
    kernels->operations_8 = 2.0 * STEPS * CHAINS * 32;
  }
#endif
}
