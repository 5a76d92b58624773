"use strict";
(() => {
{% include "player.js" %}
{% include "blind.js" %}
{% include "page.js" %}
})();
