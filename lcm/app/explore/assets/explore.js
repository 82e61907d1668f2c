/* Two things that the page cannot do from Python: hold back a slider while an answer is on its way, so that the picture
   follows the hand, and say when the server has ended. */
(function () {
  "use strict";
  let underway = 0;
  let waiting = null;
  const send = window.fetch.bind(window);
  const setValue = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;

  function release() {
    if (underway > 0 || waiting === null) return;
    const { slider, value } = waiting;
    waiting = null;
    setValue.call(slider, value);
    slider.dispatchEvent(new Event("input", { bubbles: true }));
  }

  window.fetch = function (address, options) {
    const isReply = String(address).includes("_dash-update-component");
    if (!isReply) return send(address, options);
    underway += 1;
    return send(address, options).finally(function () {
      underway -= 1;
      setTimeout(release, 0);
    });
  };

  window.addEventListener(
    "input",
    function (event) {
      if (event.target.type !== "range" || underway === 0) return;
      waiting = { slider: event.target, value: event.target.value };
      event.stopImmediatePropagation();
    },
    true
  );

  setInterval(function () {
    send("alive", { cache: "no-store" })
      .then(function (answer) { return answer.ok; }, function () { return false; })
      .then(function (alive) {
        const notice = document.getElementById("lost");
        if (notice) notice.hidden = alive;
      });
  }, 1000);
})();
