// Which instruction sets this machine has, and the table of kernels for one of them.
#include "kernels.h"

#if defined(__aarch64__) && defined(__linux__)
  #include <sys/auxv.h>
#endif

#if defined(__x86_64__)
  #include <cpuid.h>

/// The register-state bits that the operating system saves and restores.
static uint64_t saved_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (uint64_t)high << 32 | low;
}

typedef struct {
  int avx2, avx_vnni, avx512, vnni, bf16;
} features;

static features detect(void) {
  features found = {0};
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
  const int osxsave = c >> 27 & 1, avx = c >> 28 & 1, fma = c >> 12 & 1, f16c = c >> 29 & 1;
  if (!osxsave || !avx) return found;
  const uint64_t state = saved_state();
  uint32_t b7, c7;
  if (!__get_cpuid_count(7, 0, &a, &b7, &c7, &d)) return found;
  const uint32_t leaves = a;
  found.avx2 = (state & 0x6) == 0x6 && fma && f16c && (b7 >> 5 & 1);
  const uint32_t wanted = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;  // F, DQ, BW, VL
  found.avx512 = found.avx2 && (state & 0xe6) == 0xe6 && (b7 & wanted) == wanted;
  found.vnni = found.avx512 && (c7 >> 11 & 1);
  if (leaves >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d)) {
    found.avx_vnni = found.avx2 && (a >> 4 & 1);
    found.bf16 = found.avx512 && (a >> 5 & 1);
  }
#if defined(LIMN_EMULATED)  // 1: without VNNI and BF16, 2: with VNNI, 3: with both
  found.avx512 = found.avx2, found.avx_vnni = found.vnni = LIMN_EMULATED > 1, found.bf16 = LIMN_EMULATED > 2;
#endif
  return found;
}
#endif

int limn_isa_supported(limn_isa isa) {
  switch (isa) {
    case LIMN_SCALAR: return 1;
#if defined(__x86_64__)
    case LIMN_AVX2: return detect().avx2;
    case LIMN_AVX512: return detect().avx512;
#elif defined(__aarch64__)
    case LIMN_NEON: return 1;
#endif
    default: return 0;
  }
}

int limn_has_vnni(void) {
#if defined(__x86_64__)
  return detect().vnni;
#else
  return 0;
#endif
}

int limn_has_avx_vnni(void) {
#if defined(__x86_64__)
  return detect().avx_vnni;
#else
  return 0;
#endif
}

int limn_has_bf16(void) {
#if defined(__x86_64__)
  return detect().bf16;
#else
  return 0;
#endif
}

int limn_has_dotprod(void) {
#if defined(__aarch64__) && defined(__linux__)
  return getauxval(AT_HWCAP) >> 20 & 1;  // HWCAP_ASIMDDP
#elif defined(__aarch64__) && defined(__APPLE__)
  return 1;  // every Mac with a processor of this kind has it
#else
  return 0;
#endif
}

const char *limn_isa_name(limn_isa isa) {
  static const char *const names[] = {"scalar", "neon", "avx2", "avx512"};
  return names[isa];
}

void limn_pause(void) {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

int limn_kernels_init(limn_kernels *kernels, limn_isa isa) {
  if (!limn_isa_supported(isa)) return 0;
  *kernels = (limn_kernels){.isa = isa};
  limn_install_linear(kernels);
  limn_install_norm(kernels);
  limn_install_rope(kernels);
  limn_install_kv(kernels);
  limn_install_attention(kernels);
  limn_install_attention_in_place(kernels);
  limn_install_activation(kernels);
  limn_install_ceilings(kernels);
  limn_install_low_rank(kernels);
  limn_install_bitsandbytes(kernels);
  return 1;
}

int limn_path_init(limn_path *path, limn_isa isa, limn_type type, limn_arithmetic arithmetic) {
  if (!limn_isa_supported(isa)) return 0;
  // Without the dot product, float32 vectors are faster than the scalar reference.
  if (isa == LIMN_NEON && arithmetic == LIMN_INT8 && !limn_has_dotprod()) return 0;
  // AVX2 has 16 registers for two of rows and as many for each token.
  *path = (limn_path){.pass_tokens = isa == LIMN_AVX2 ? 6 : LIMN_TILE_TOKENS};
  switch (type) {
    case LIMN_F32: return limn_path_f32(path, isa, arithmetic);
    case LIMN_F16: return limn_path_f16(path, isa, arithmetic);
    case LIMN_BF16: return limn_path_bf16(path, isa, arithmetic);
    case LIMN_Q8_0: return limn_path_q8_0(path, isa, arithmetic);
    case LIMN_Q4_0: return limn_path_q4_0(path, isa, arithmetic);
    case LIMN_Q4_K: return limn_path_q4_k(path, isa, arithmetic);
    case LIMN_Q6_K: return limn_path_q6_k(path, isa, arithmetic);
    case LIMN_Q4_1: return limn_path_q4_1(path, isa, arithmetic);
    case LIMN_Q5_0: return limn_path_q5_0(path, isa, arithmetic);
    case LIMN_Q5_1: return limn_path_q5_1(path, isa, arithmetic);
    case LIMN_Q2_K: return limn_path_q2_k(path, isa, arithmetic);
    case LIMN_Q3_K: return limn_path_q3_k(path, isa, arithmetic);
    case LIMN_Q5_K: return limn_path_q5_k(path, isa, arithmetic);
    case LIMN_IQ4_NL: return limn_path_iq4_nl(path, isa, arithmetic);
    case LIMN_IQ4_XS: return limn_path_iq4_xs(path, isa, arithmetic);
    case LIMN_IQ2_XXS: return limn_path_iq2_xxs(path, isa, arithmetic);
    case LIMN_IQ2_XS: return limn_path_iq2_xs(path, isa, arithmetic);
    case LIMN_IQ2_S: return limn_path_iq2_s(path, isa, arithmetic);
    case LIMN_IQ3_XXS: return limn_path_iq3_xxs(path, isa, arithmetic);
    case LIMN_IQ3_S: return limn_path_iq3_s(path, isa, arithmetic);
    case LIMN_IQ1_S: return limn_path_iq1_s(path, isa, arithmetic);
    case LIMN_IQ1_M: return limn_path_iq1_m(path, isa, arithmetic);
    case LIMN_TQ1_0: return limn_path_tq1_0(path, isa, arithmetic);
    case LIMN_TQ2_0: return limn_path_tq2_0(path, isa, arithmetic);
    case LIMN_MXFP4: return limn_path_mxfp4(path, isa, arithmetic);
    case LIMN_NVFP4: return limn_path_nvfp4(path, isa, arithmetic);
    case LIMN_NF4:
    case LIMN_NF4_F16:
    case LIMN_NF4_BF16:
    case LIMN_FP4:
    case LIMN_FP4_F16:
    case LIMN_FP4_BF16: return limn_path_4bit(path, isa, type, arithmetic);
    case LIMN_LLM_INT8: return limn_path_llm_int8(path, isa, arithmetic);
    default: return 0;
  }
}
