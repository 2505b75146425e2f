/* Memory for something from outside (xtry) that is refused at a chosen point. Every unit test is
 * linked so that xtry() asks here first. */
#pragma once
#include <stdbool.h>

/* The n-th xtry() from now on says no, once; 0: none does. */
void refuse_memory(unsigned nth);
/* Whether it has come to that; nothing is refused afterwards. */
bool refused_memory(void);
