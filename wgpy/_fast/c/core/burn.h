/* What the AEAD leaves below its caller's frame: the compiler spills registers where no
 * wipe reaches, so words of keys and of Poly1305 keys stay there after it has returned. */
#ifndef WG_BURN_H
#define WG_BURN_H

#include "wg.h"

/* Bytes: the deepest AEAD frames and the stage above them. tests/c/burn_aead.c
 * measures how deep each backend goes. */
enum { WG_BURN = 64 * 1024 };

/* Wipes the stack below the caller. Call it from the frame that called what left secrets
 * there, or from one further up. */
__attribute__((noinline)) static void burn_stack(void)
{
    uint8_t below[WG_BURN];
    wipe(below, sizeof below);
}

#endif
