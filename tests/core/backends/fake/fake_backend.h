/* What the fake backends of the tests share with the tests: names of models and what they do. */
#pragma once

/* A model's name is a list of words joined by '+', each a behaviour:
 *   echo       (any) emits its prompt's words as tokens, one a step and sample; ids count from 100
 *   slow       a step sleeps 2 ms
 *   busy       submit answers BUSY while two sequences are alive
 *   stuck      submit always answers BUSY
 *   endless    tokens without end, until cancelled
 *   quiet      nothing at all until cancelled
 *   fail_step  the third step of a session fails
 *   lose       reports alive 0 without a FINISH
 *   reject     submit fails
 *   no_session session_open fails
 *   rude       events of unknown sequences and samples, double FINISH, tokens after FINISH, events from another thread
 *   leftover   session_close ends nothing
 *   spans      has the capability
 *   missing    loading asks the host for the model's files
 *   load_slow  loading takes until it is cancelled
 *   load_stuck loading takes 1.5 s whatever happens
 *   load_fail  loading fails */
