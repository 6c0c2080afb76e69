/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The descriptors that this process has. */
#ifndef FERRY_TESTS_FAKE_DESCRIPTORS_H
#define FERRY_TESTS_FAKE_DESCRIPTORS_H

/* Counts them; two counts differ by what was opened and closed between. Any thread. */
unsigned int fake_count_descriptors(void);

#endif
