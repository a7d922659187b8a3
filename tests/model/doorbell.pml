/* SPDX-License-Identifier: Apache-2.0
 *
 * Falling asleep and waking as in shm/doorbell.h, two producers and one sleeper, with store
 * buffers: what a party stores is seen by itself at once and by others later, at any moment, or
 * when a fence or the sleeper's membarrier makes it so (one producer after the other, as the
 * interrupts arrive). A wake-up that is lost is a sleeper that never ends: an invalid end state.
 *
 * MODE  FENCES       producers fence themselves: no membarrier
 * MUTANT NO_BARRIER  the sleeper fences itself only
 * MUTANT NO_LOOK     no last look at the rings
 * MUTANT LOOK_FIRST  the last look comes before the announcement
 * MUTANT BELL_FIRST  the producer looks at the word before it pushes
 * MUTANT FLAG        the word is a flag: the second sleep looks like the first
 * MUTANT DRAIN_LATE  the eventfd is emptied between the last look and the sleep
 */
#define PRODUCERS 2
#define MESSAGES 2 /* of each producer */

byte pushed[PRODUCERS];  /* visible to all */
byte pending[PRODUCERS]; /* in the producer's store buffer */
byte sleeping;           /* the word, visible to all */
bit awake;               /* the sleeper's store of 0 is in its store buffer */
byte event;              /* the eventfd: 1 readable */
byte over;               /* producers that have ended */

inline flush(p)
{
	atomic {
		pushed[p] = pushed[p] + pending[p];
		pending[p] = 0
	}
}

proctype producer(byte me)
{
	byte sent = 0, word = 0, rung = 0;

	do
	:: sent < MESSAGES ->
#ifdef BELL_FIRST
		word = sleeping;
		pending[me]++;
#else
		pending[me]++;
#ifdef FENCES
		flush(me);
#endif
		word = sleeping;
#endif
		sent++;
		if
		:: word != 0 && word != rung ->
			rung = word;
			flush(me); /* a system call */
			event = 1
		:: else
		fi
	:: sent == MESSAGES -> break
	od;
	over++
}

/* Store buffers empty themselves some time. */
proctype drainer()
{
	do
	:: pending[0] > 0 -> flush(0)
	:: pending[1] > 0 -> flush(1)
	:: atomic { awake -> awake = 0; sleeping = 0 }
	:: over == PRODUCERS && pending[0] + pending[1] == 0 -> break
	od
}

inline membarrier()
{
#ifndef FENCES
#ifndef NO_BARRIER
	flush(0);
	flush(1)
#else
	skip
#endif
#else
	skip
#endif
}

#define NOTHING (pushed[0] + pushed[1] == got)

proctype sleeper()
{
	byte got = 0, sleeps = 0;
	bit look;

	do
	:: got == PRODUCERS * MESSAGES -> break
	:: got < PRODUCERS * MESSAGES && !NOTHING -> got++
	:: got < PRODUCERS * MESSAGES && NOTHING ->
#ifdef LOOK_FIRST
		look = NOTHING;
#endif
		atomic {
			awake = 0;
#ifdef FLAG
			sleeping = 1
#else
			sleeps++;
			sleeping = sleeps
#endif
		}
		membarrier();
#ifndef LOOK_FIRST
		look = NOTHING;
#endif
#ifdef NO_LOOK
		look = 1;
#endif
#ifdef DRAIN_LATE
		event = 0;
#endif
		if
		:: look -> event == 1 -> event = 0 /* sleep; drain */
		:: !look
		fi;
		awake = 1
	od
}

init
{
	atomic {
		run producer(0);
		run producer(1);
		run drainer();
		run sleeper()
	}
}
