import { mariadbShop } from '#local/demo/mariadb-shop.ts';
import { playDemo } from './play-demo.ts';

// The demo, with a tenth of its data.

playDemo(() => mariadbShop(0.1));
