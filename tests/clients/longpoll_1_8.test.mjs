// phoenix 1.8 over LongPoll.
import { suite } from '../lib/longpoll_suite.mjs';

await suite('phoenix 1.8');
