// The start page: gives the name, and the passphrase where one is asked for.

const form = document.getElementById("enter");
const trouble = document.getElementById("trouble");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  trouble.hidden = true;
  try {
    const response = await fetch("/enter", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(Object.fromEntries(new FormData(form))),
    });
    if (response.ok) {
      location.assign("/");
      return;
    }
    trouble.textContent = `${(await response.json()).error}`;
  } catch {
    trouble.textContent = "The server does not answer. Is redct annotate still running?";
  }
  trouble.hidden = false;
  button.disabled = false;
});
