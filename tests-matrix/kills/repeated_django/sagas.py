"""Its saga."""

from typing import Any

from sagaz import Saga, action


class Order(Saga):
    @action("reserve")
    async def reserve(self, ctx: dict[str, Any]) -> None: ...
