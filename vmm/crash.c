/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The program's own end for a failed assertion, in the place of the C library's, which waits for the reader
 * of stderr. */
#include <stdlib.h>

#include "vmm/log.h"

/* Called by assert() of musl, whose own prints to stderr, and there waits for who reads that. */
_Noreturn void __assert_fail(const char *expression, const char *file, int line, const char *function);

_Noreturn void __assert_fail(const char *expression, const char *file, int line, const char *function)
{
	log_error("a fault of Ferry's: %s does not hold in %s(), %s line %d; it ends here", expression,
		  function, file, line);
	log_flush();
	abort();
}
